"""What embedding a document's texts is, whatever the model: passages, what a model must do, and what it answered."""
