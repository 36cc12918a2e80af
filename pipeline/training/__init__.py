"""One training loop for the four steps and the joint one."""
