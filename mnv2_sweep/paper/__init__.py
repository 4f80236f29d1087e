"""What the MobileNetV2 paper and its sources print, beside our own figures."""
