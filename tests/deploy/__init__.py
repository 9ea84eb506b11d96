"""What is shipped for containers: manifests, and the loop of the compose file."""
