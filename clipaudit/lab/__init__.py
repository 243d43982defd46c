"""The shadow lab: the paper's experiments, from a matrix of runs to tables and figures.

`matrix` says what is to be run, `units` what that means in encoders, `worker` makes one of them,
`run` all of them, `experiments` what follows from them, `figures` and `tables` how it looks.
"""
