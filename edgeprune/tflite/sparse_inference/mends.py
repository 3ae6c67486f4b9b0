"""What to change for each rule that stops sparse kernels, or lets them compute wrong numbers."""

from __future__ import annotations

MENDS: dict[str, str] = {
    # what keeps a node out of a cluster
    "stem-padding": (
        "pad the input by 1 on all four sides (ZeroPadding2D(1)) and use padding='valid' "
        "(passes pad_symmetrically and mirror_image)"
    ),
    "depthwise-padding": (
        "pad symmetrically (1 on all sides for 3x3, 2 for 5x5; ZeroPadding2D and padding='valid'), "
        "or embed the 3x3 kernel in a 5x5 one with padding 2, which changes no output "
        "(passes pad_symmetrically, mirror_image, embed_depthwise)"
    ),
    "depthwise-stride": "use stride 1 or 2, the same in both directions",
    "depthwise-kernel": "use a 3x3 or 5x5 kernel",
    "depthwise-multiplier": "use depth_multiplier 1, with a 1x1 convolution before it for more channels",
    "convolution-kernel": (
        "use 1x1 and depthwise convolutions; a 3x3 one only as stem: stride 2, 3 input channels "
        "(pass recast_stem makes such ones of other stems)"
    ),
    "convolution-stride": (
        "use stride 1 in 1x1 convolutions and let a depthwise convolution take the stride (pass write_as_depthwise)"
    ),
    "stem-channels": "feed the stem 3 channels, with zeros, or add up stems of 3 channels each (pass recast_stem)",
    "groups": "use 1x1 and depthwise convolutions instead of grouped ones",
    "dilation": "remove the dilation",
    "data-type": "export as float32 or float16; integers always run dense",
    "operand-rank": (
        "fold the constant into the convolution before or behind it, or give it four dimensions and let it stand first"
    ),
    "constant-order": (
        "fold the constant into the convolution before or behind it, or swap the operands in the file: "
        "only a constant that stands first is accepted, and the converter writes it second"
    ),
    "constant-shape": "let the constant vary along one axis only, shape (1, 1, 1, channels)",
    "operation": "replace it, or move it behind the global pooling",
    "pooling": (
        "replace it by a depthwise convolution with stride 2 (pass write_as_depthwise for 2x2 averages), "
        "or end the network with a global mean"
    ),
    "reshape": "pool with keepdims=True instead of reshaping, or end the feature maps with a global mean",
    "resize-size": "resize maps of at least 2x2",
    "rank": "keep feature maps in four dimensions until the global pooling",
    "not-delegated": "replace the operation by one that XNNPACK has, or move it behind the global pooling",
    "repeated-operand": "don't add a tensor to itself; double the weights before it",
    # what stops a whole cluster
    "outside-input": "let the network begin with a 3x3 stride-2 convolution, padded by 1, on an input of 3 channels",
    "outside-reader": (
        "let every tensor of the cluster be read inside it only; take outputs behind the global pooling, "
        "or through a DEPTH_TO_SPACE (pass end_by_depth_to_space)"
    ),
    "no-end": (
        "end the network with a global mean (GlobalAveragePooling2D) or a DEPTH_TO_SPACE (pass end_by_depth_to_space)"
    ),
    "zeros": "prune more than 2/3 of the 1x1 convolutions' weights",
    "not-encoded": "export with tf.lite.Optimize.EXPERIMENTAL_SPARSITY, so that weights are stored sparsely",
    # what breaks
    "leak": "mend what stops the rest of the cluster, or export without the sparse encoding",
    "pooled-convolution": "use a Dense layer after the pooling instead of the 1x1 convolution",
    "pooled-shape": "pool with keepdims=False, or read the pooled map by a 1x1 convolution or Dense layer only",
    "pooled-axis": "average both height and width",
    "float16-sparse": "use ai-edge-litert 2.2 or newer on the board, or float32 storage",
}
