"""What several sources, targets and stores of one system share."""
