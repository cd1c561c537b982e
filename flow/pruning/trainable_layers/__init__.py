"""The operations of a graph as torch modules: what is trained of each, and what it is worth as the file holds it.

Maps are (images, channels, height, width). In eval mode each module computes, in the precision of what it is given,
what `transforms.passes.floats` and the reference interpreter say of its operation; parameters are rounded to float32
first, as files hold them. Quantizers hand gradients through as a rising straight line would.
"""
