"""What the operator and other programs get to see, all told from one result."""
