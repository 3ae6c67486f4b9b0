"""Will XNNPACK's sparse kernels run? Said from the file alone, by following what the runtime does when it loads it.

partition.py (which operations XNNPACK takes) -> nodes.py (its nodes) -> compatibility.py (what each node allows) ->
clusters.py (which nodes change to NCHW together) -> breakage.py (where that computes wrong numbers) -> predict.py.
"""
