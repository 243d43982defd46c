"""open_clip: every model and pretrained tag, a checkpoint file, a hub repository, a folder."""
