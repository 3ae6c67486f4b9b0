"""What an emulated Raspberry Pi 4 did with each network of sparse_corpus.py.

Measured by running both encodings of the same weights and comparing instructions and outputs; tests/emulator measures
again. One letter per runtime: S sparse kernels ran and the outputs are right, d the model ran densely, W the outputs
are wrong, F the runtime refuses to load it.
"""

from __future__ import annotations

RUNTIMES = (
    ("ai-edge-litert", "2.3.0"),
    ("ai-edge-litert", "2.2.0"),
    ("ai-edge-litert", "2.1.6"),
    ("ai-edge-litert", "2.0.3"),
    ("ai-edge-litert", "1.4.0"),
    ("ai-edge-litert", "1.3.0"),
    ("ai-edge-litert", "1.2.0"),
    ("tflite-runtime", "2.14.0"),
)

# letters, one per runtime -> the networks
_BY_LETTERS = {
    "SSSSSSSd": """
        plain zeros_70 zeros_80 zeros_99 int8_storage_zeros_80 batch_2 scaled_before_stem
        depthwise_3_stride_1_same depthwise_5_stride_1_same depthwise_3_stride_2_valid_pad_1_1
        depthwise_5_stride_2_valid_pad_2_2 conv_1x1_same conv_linear resize residual residual_relu
        unary_logistic unary_hard_swish unary_tanh unary_relu unary_relu6 unary_elu unary_leaky_relu unary_sqrt
        unary_abs unary_neg unary_square unary_gelu unary_floor swish constant_first_rank_4
        constant_first_rank_4_vector add_constant_first gate gate_sum gate_hard_second gate_hard_first end_mean
        end_mean_axes_reversed end_mean_channels end_mean_all end_sum end_depth_to_space end_mean_conv_logistic
        end_mean_keep_reshape_dense end_mean_axes_13 end_mean_axes_23 end_mean_axes_321 end_mean_keep_axes_321
        end_mean_axes_012 end_mean_conv_conv end_mean_square gate_then_one_channel input_twice
        stem_activation_alone head_dense_big_sparse head_cast two_heads pooled_is_an_output only_dense_is_sparse
        gate_dense gate_dense_big_sparse dense_on_map maps_leave_by_depth_to_space two_stems_for_four_channels
    """,
    "WWWWWWWd": """
        depthwise_7_stride_1_same depthwise_3_stride_2_same depthwise_3_stride_2_valid_pad_0_1
        depthwise_5_stride_2_valid_pad_1_2 depthwise_3_stride_1_valid depthwise_multiplier depthwise_dilated
        conv_1x1_stride_2 conv_1x1_groups conv_3x3 average_pool max_pool concat constant_second_rank_0
        constant_first_rank_0 constant_second_rank_1 constant_first_rank_1 constant_second_vector
        constant_first_vector constant_second_rank_4 constant_second_rank_4_vector constant_second_map
        constant_first_map add_constant_second end_mean_keep end_mean_rows end_mean_logistic end_mean_twice
        end_mean_axes_2 end_mean_keep_axes_2 end_mean_keep_axes_13 end_mean_keep_axes_23 end_mean_keep_axes_012
        end_mean_keep_channels end_sum_keep end_mean_softmax end_gate gate_then_average_pool
        gate_then_log_softmax gate_then_concat gate_then_unary gate_then_resize output_in_the_middle
        two_gates_and_an_output padding_with_two_readers
    """,
    "dddddddd": """
        zeros_40 zeros_60 zeros_66 int8_storage_zeros_60 stem_same stem_same_odd stem_pad_0_1 stem_pad_2_2
        stem_no_pad stem_stride_1 stem_5x5 stem_1x1_on_input stem_twice stem_dilated conv_tanh binary_sub
        binary_maximum binary_minimum gate_reshape gate_hard_rank_0 end_max end_average_pool end_convolution
        end_flatten stem_then_pool broken_but_dense stem_4_channels stem_to_mean not_delegated_inside
        head_and_pool gate_dense_big
    """,
    "ddWWWFFd": """
        float16_zeros_60 float16_stem_same float16_zeros_40 float16_zeros_50 float16_hinted_zeros_0
        float16_hinted_zeros_10 float16_hinted_zeros_25 float16_hinted_zeros_32
    """,
    "SSSSSddd": """
        zeros_67 end_mean_keep_dense_big_zeros_0 head_dense_big head_two_dense pooled_has_two_readers
    """,
    "ddddSSSd": """
        double_by_add end_mean_conv_add
    """,
    "SSSSSSdd": """
        unary_exp unary_sin
    """,
    "SSSWWWWd": """
        maximum_constant minimum_constant_rank_0
    """,
    "FFFWWWWd": """
        end_mean_conv end_mean_conv_reshape end_mean_dense_4d_reshape
    """,
    "SSSSSWWd": """
        end_mean_keep_dense end_mean_keep_dense_big_zeros_90
    """,
    "FFFFFFFd": """
        gate_without_convolution gate_logistic_only
    """,
    "SSWWWFFd": """
        float16_zeros_80
    """,
    "SSSdSSSd": """
        square_by_mul
    """,
    "FFFFFFFF": """
        head_custom
    """,
    "WWWWWddd": """
        pooled_map_has_two_readers
    """,
}

# network -> its letters
MEASURED = {name: letters for letters, names in _BY_LETTERS.items() for name in names.split()}
