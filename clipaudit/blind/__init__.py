"""The blind baseline: can members be told from non-members without the encoder?

If they can, a set of pictures is confounded, and what an inferrer makes of it proves nothing by
itself. `baseline` lets classifiers try, on what `pictures.image_statistics` and
`pictures.random_embedding` say of a picture; `adjust` says how much of an inferrer's AUC is left
among pictures that look equally like members.
"""
