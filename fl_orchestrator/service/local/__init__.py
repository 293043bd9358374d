"""A whole federation on this machine, as separate processes: what `flo up` starts."""
