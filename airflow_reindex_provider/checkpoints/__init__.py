"""Where cursors are kept, one file a system. All stores pass ``testing.checkpoint_conformance``."""
