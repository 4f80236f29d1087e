#!/usr/bin/env bash
# LiteRT's own int8 MEAN puts all channels off by the same part of a step, up to half of it; its XNNPACK kernel does not.
#
# Versions   ai-edge-litert 2.3.0, tflite 2.18.0 (for its schema), flatbuffers 25.12.19, numpy 2.4.6, Python 3.11, x86.
# Expected   A global average pool in 8 bits, (mean - zero) * scale rounded to the nearest step, is off by at most half a
#            step, as often up as down, whichever kernel of the one runtime computes it.
# Seen       Map of 9 x 9 x 32, zero point -128 and scale 0.02, as after a ReLU. With the output scale 2.56 / 510.5 the
#            kernel that runs without XNNPACK (BUILTIN_WITHOUT_DEFAULT_DELEGATES) gives integers that are half a step too
#            large on average, and up to one; with the scale 2.56 / 511, which is 0.1 % smaller, it is right. The kernel
#            of XNNPACK is right with both. It looks as if the builtin one rounded zero point x input scale / output
#            scale to a whole number (510.5 here) before it adds it: what is lost is the same for all channels.
# Hurt       All features before a classifier move to one side by up to half a step, which does not average out but
#            adds up over 1280 weights, and only on devices that run without XNNPACK: the same file gives other scores
#            there. Nothing tells; whether it does so depends on the decimals of two scales that a calibration found.
#
# Prints what it sees. Exit 0: as described; 1: it has changed.
set -euo pipefail
here=$(mktemp -d)
trap 'rm -rf "$here"' EXIT
python3 -m venv "$here/venv"
"$here/venv/bin/pip" install --quiet --disable-pip-version-check ai-edge-litert==2.3.0 tflite==2.18.0 \
    flatbuffers==25.12.19 numpy==2.4.6

"$here/venv/bin/python" -W ignore - 2> "$here/log" <<'PYTHON' || { cat "$here/log"; exit 1; }
import sys

import flatbuffers
import numpy as np
import tflite
from ai_edge_litert.interpreter import Interpreter, OpResolverType

SIDE, CHANNELS, ZERO, SCALE = 9, 32, -128, 0.02


def table(builder, kind, **fields):
    getattr(tflite, f"{kind}Start")(builder)
    for name, value in fields.items():
        getattr(tflite, f"{kind}Add{name}")(builder, value)
    return getattr(tflite, f"{kind}End")(builder)


def vector(builder, places):
    builder.StartVector(4, len(places), 4)
    for place in reversed(places):
        builder.PrependUOffsetTRelative(place)
    return builder.EndVector()


def numbers(builder, values, kind=np.int32):
    return builder.CreateNumpyVector(np.array(values, kind))


def tensor(builder, shape, kind, buffer, scale=None):
    fields = {}
    if scale:
        fields["Quantization"] = table(
            builder, "QuantizationParameters",
            Scale=numbers(builder, [scale], np.float32), ZeroPoint=numbers(builder, [ZERO], np.int64),
        )
    return table(builder, "Tensor", Shape=numbers(builder, shape), Type=kind, Buffer=buffer, **fields)


def mean_over_the_map(scale):
    """A model of one operation: [1, 9, 9, 32] -> [1, 1, 1, 32]."""
    b, types = flatbuffers.Builder(1024), tflite.TensorType
    buffers = [table(b, "Buffer"), table(b, "Buffer", Data=b.CreateByteVector(np.array([1, 2], np.int32).tobytes()))]
    tensors = [
        tensor(b, [1, SIDE, SIDE, CHANNELS], types.INT8, 0, SCALE),
        tensor(b, [2], types.INT32, 1),
        tensor(b, [1, 1, 1, CHANNELS], types.INT8, 0, scale),
    ]
    options = table(b, "ReducerOptions", KeepDims=True)
    operator = table(
        b, "Operator", OpcodeIndex=0, Inputs=numbers(b, [0, 1]), Outputs=numbers(b, [2]),
        BuiltinOptionsType=tflite.BuiltinOptions.ReducerOptions, BuiltinOptions=options,
    )
    graph = table(
        b, "SubGraph", Tensors=vector(b, tensors), Inputs=numbers(b, [0]), Outputs=numbers(b, [2]),
        Operators=vector(b, [operator]),
    )
    code = table(
        b, "OperatorCode", DeprecatedBuiltinCode=tflite.BuiltinOperator.MEAN,
        BuiltinCode=tflite.BuiltinOperator.MEAN, Version=2,
    )
    model = table(
        b, "Model", Version=3, OperatorCodes=vector(b, [code]), Subgraphs=vector(b, [graph]), Buffers=vector(b, buffers)
    )
    b.Finish(model, b"TFL3")
    return bytes(b.Output())


def run(content, maps, kernels):
    interpreter = Interpreter(model_content=content, experimental_op_resolver_type=kernels)
    interpreter.allocate_tensors()
    (first,), (last,) = interpreter.get_input_details(), interpreter.get_output_details()
    made = []
    for one in maps:
        interpreter.set_tensor(first["index"], one[None])
        interpreter.invoke()
        made.append(interpreter.get_tensor(last["index"]).ravel().astype(float))
    return np.array(made)


maps = np.random.RandomState(0).randint(-128, -98, (200, SIDE, SIDE, CHANNELS)).astype(np.int8)
KERNELS = {"builtin": OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES, "XNNPACK": OpResolverType.AUTO}
right = True
print("ai-edge-litert 2.3.0, int8 MEAN over a map: how far off, in steps of the output")
for zeros in (510.5, 511):
    scale = float(np.float32(-ZERO * SCALE / zeros))
    wished = (maps.astype(float) - ZERO).mean(axis=(1, 2)) * SCALE / scale + ZERO
    for name, kernels in KERNELS.items():
        off = run(mean_over_the_map(scale), maps, kernels) - wished
        print(f"  scale {scale:.6f}, {name:8} mean {off.mean():+.3f}, largest {np.abs(off).max():.3f}")
        shifted = name == "builtin" and zeros == 510.5
        right &= off.mean() > 0.45 and np.abs(off).max() > 0.9 if shifted else abs(off.mean()) < 0.06
print("as described" if right else "CHANGED: no longer as described")
sys.exit(0 if right else 1)
PYTHON
