"""An Android phone behind `adb`: the transport that runs Google's benchmark_model there."""
