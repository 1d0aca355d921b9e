from .res_layer import ResLayer
