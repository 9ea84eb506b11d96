"""What the operator and other programs get to see, all made from one result."""
