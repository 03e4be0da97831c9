"""``rollc bench``: the speed of rollc's kernels compared with that of other libraries.

    workloads   the computations: a spec, its sizes, and the peers that can run it
    data        numbers for a spec: parameters, inputs and the weights of the loss
    systems     the same equations over any library of arrays
    peers/      the libraries, rollc itself and the machine's peak, a module each
    worker      a process that runs peers on some cores and nothing else
    conductor   runs workers alternately, after their results have been compared
    building    the time of builds
    memory      the memory of a training step
    statistics  medians of ratios
    report      the tables

All peers of a workload get the same arrays and compute the same: with the output h and given
weights g (the target of the spec), the loss is the mean over steps and sequences of the sum
over the elements of h * g.  *Forward* is h; *gradient* is the loss and its gradients with
respect to every parameter and to the input.  What is timed is a call of the library's public
interface, from arrays of its own kind to arrays of its own kind.
"""
