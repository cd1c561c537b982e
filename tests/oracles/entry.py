"""Our dataflow file with the units that finn-plus has."""

from __future__ import annotations

import onnx
from onnx import TensorProto, helper


def for_finn_plus(model: onnx.ModelProto) -> onnx.ModelProto:
    """A copy of a dataflow model with each `StreamingMaxPool` as a depthwise sliding window and a `Pool`.

    finn-plus 1.6.1 and Xilinx/finn dev have no `StreamingMaxPool`; Xilinx/finn main has no other max pool.
    """
    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    nodes = list(copy.graph.node)
    del copy.graph.node[:]
    for node in nodes:
        copy.graph.node.extend(_pool(copy, node) if node.op_type == "StreamingMaxPool" else [node])
    return copy


def _pool(model: onnx.ModelProto, node: onnx.NodeProto) -> list[onnx.NodeProto]:
    old = {item.name: helper.get_attribute_value(item) for item in node.attribute}
    kernel, size, channels = list(old["PoolDim"]), list(old["ImgDim"]), old["NumChannels"]
    kind = old["dataType"].decode()
    made = [n // k for n, k in zip(size, kernel, strict=True)]
    between = f"{node.output[0]}_window"
    model.graph.value_info.append(
        helper.make_tensor_value_info(between, TensorProto.FLOAT, [1, *made, channels * kernel[0] * kernel[1]])
    )
    entry = onnx.StringStringEntryProto(key="finn_datatype", value=kind)
    model.graph.quantization_annotation.append(
        onnx.TensorAnnotation(tensor_name=between, quant_parameter_tensor_names=[entry])
    )
    window = helper.make_node(
        "ConvolutionInputGenerator",
        [node.input[0]],
        [between],
        domain=node.domain,
        backend="fpgadataflow",
        ConvKernelDim=kernel,
        IFMChannels=channels,
        IFMDim=size,
        OFMDim=made,
        SIMD=channels,
        Stride=kernel,
        Dilation=[1, 1],
        inputDataType=kind,
        outputDataType=kind,
        depthwise=1,
        ram_style="distributed",
    )
    pool = helper.make_node(
        "Pool",
        [between],
        [node.output[0]],
        domain=node.domain,
        backend="fpgadataflow",
        Channels=channels,
        PE=channels,
        KernelSize=kernel,
        Function="MaxPool",
        OutImgDims=made,
        InputDataType=kind,
        OutputDataType=kind,
        cpp_interface="hls_vector",
    )
    return [window, pool]
