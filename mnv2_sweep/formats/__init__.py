"""Networks as files for a device: ONNX and TFLite, as 32-bit floats and as 8-bit integers."""
