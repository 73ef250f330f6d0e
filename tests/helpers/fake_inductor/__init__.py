"""What torch.compile captures and, for an H100, generates: found on a machine without a GPU.

runs       short runs on the CPU, and what is compiled in each of their steps
h100       let torch believe that there is an H100
lowering   a captured graph → the CUDA code that Inductor writes for it, and what is in it
kernels    a command that compiles the kernels in such code, for an H100
__main__   a command that prints kernels and replays a step, by network and options

Dynamo captures the graphs of real steps. Inductor gets a copy of each with its devices changed to
CUDA; its code is read and not run: the step goes on with the graph as it was captured.
"""
