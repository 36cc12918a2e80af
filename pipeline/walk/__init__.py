"""`frcnn walk`: one photo through every stage of Faster R-CNN, with shapes, numbers and pictures.

A module has one concept: it computes the numbers of a section of the page and draws its picture. The words are in
`walkthrough.md.jinja`.
"""
