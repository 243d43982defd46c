"""The shadow lab: the paper's experiments, from a matrix of runs to tables and figures.

`matrix` says what is to be run, `scale` how large; `experiments` holds the kinds of experiments,
`plan` what they need. A `worker` makes an encoder and its `measurements`, `run` makes all of them;
`judging` and `collecting` make `results` of them, `tables` and `figures` show those.
"""
