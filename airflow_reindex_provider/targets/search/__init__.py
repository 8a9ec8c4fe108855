"""What the search engines share as targets. Each engine is a file beside this folder."""
