"""The mathematics of Faster R-CNN: the RPN, its proposals, the RoI head, their targets and losses."""
