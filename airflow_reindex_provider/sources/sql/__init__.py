"""What all SQL sources share: ideas about tables, without the SQL of any database."""
