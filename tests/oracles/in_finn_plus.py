"""Runs inside finn-plus' own environment: hands it our files and writes what it says about them as JSON.

Usage: python in_finn_plus.py JOB.json. A job names its input files; its answer is written beside it.
finn-plus needs Vivado's simulator and torch only for what is not used here, so empty modules stand in for them.
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np


def stand_ins(folder: Path) -> None:
    """Put empty modules in the place of Vivado's simulation interface and of torch (layer normalisation)."""
    functional = ModuleType("torch.nn.functional")
    torch, layers = ModuleType("torch"), ModuleType("torch.nn")
    torch.Tensor = type("Tensor", (), {})  # type: ignore[attr-defined]
    torch.nn, layers.functional = layers, functional  # type: ignore[attr-defined]
    sys.modules.update({"torch": torch, "torch.nn": layers, "torch.nn.functional": functional})
    os.environ["FINN_BUILD_DIR"] = str(folder / "build")
    os.environ["NUM_DEFAULT_WORKERS"] = "1"
    import finn.xsi

    finn.xsi.SimEngine = type("SimEngine", (), {})


STEPS = (
    "step_qonnx_to_finn",
    "step_tidy_up",
    "step_streamline",
    "step_convert_to_hw",
    "step_minimize_bit_width_initial",
    "step_create_dataflow_partition",
    "step_specialize_layers",
    "step_apply_folding_config",
    "step_minimize_bit_width",
    "step_generate_estimate_reports",
)


def build(job: dict[str, Any], folder: Path) -> dict[str, Any]:
    """Run finn-plus' build steps on `model` from step `start` on; its reports and every unit's attributes.

    Weights go to `weights.npz`, memory files to `memories/` where the job asks for them, and the classes of `images`,
    by the graph that finn-plus streamlines, to `classes.npy`.
    """
    from finn.builder import build_dataflow_steps as steps
    from finn.builder.build_dataflow_config import DataflowBuildConfig, DataflowOutputType
    from qonnx.core.modelwrapper import ModelWrapper
    from qonnx.custom_op.registry import getCustomOp
    from qonnx.transformation.insert_topk import InsertTopK

    model = ModelWrapper(job["model"])
    config = DataflowBuildConfig(
        output_dir=str(folder / "output"),
        synth_clk_period_ns=1000.0 / job["clock_mhz"],
        fpga_part=job["part"],
        generate_outputs=[DataflowOutputType.ESTIMATE_REPORTS],
        folding_config_file=job.get("folding"),
        save_intermediate_models=False,
    )
    chosen = STEPS[STEPS.index(job.get("start", STEPS[0])) :]
    for number, name in enumerate(chosen, 1):
        model = getattr(steps, name)(model, config)
        if name == "step_tidy_up" and job.get("top_k"):
            model = model.transform(InsertTopK(k=1))
        if name == "step_streamline" and "images" in job:
            np.save(folder / "classes.npy", classes(model, np.load(job["images"])))
        model.save(str(folder / f"{number:02d}_{name}.onnx"))
    reports = folder / "output" / "report"
    answer: dict[str, Any] = {
        name: json.loads((reports / f"{name}.json").read_text())
        for name in ("estimate_layer_cycles", "estimate_layer_resources", "estimate_network_performance")
    }
    answer["units"] = []
    weights: dict[str, np.ndarray] = {}
    for node in model.graph.node:
        op = getCustomOp(node)
        attributes = {key: op.get_nodeattr(key) for key in op.get_nodeattr_types()}
        plain = {key: value.tolist() if hasattr(value, "tolist") else value for key, value in attributes.items()}
        answer["units"].append({"name": node.name, "op": node.op_type, "attributes": plain})
        if node.op_type == "MVAU_hls":
            weights[node.name] = np.asarray(model.get_initializer(node.input[1])).T.astype(np.int8)
        if job.get("memories") and node.op_type in ("MVAU_hls", "Thresholding_rtl"):
            files = folder / "memories" / node.name
            files.mkdir(parents=True, exist_ok=True)
            op.generate_params(model, str(files))
    np.savez(folder / "weights.npz", **weights)
    return answer


def classes(model: Any, images: np.ndarray) -> np.ndarray:
    """The class of each image by a streamlined graph, image by image."""
    from qonnx.core.onnx_exec import execute_onnx

    source, target = model.graph.input[0].name, model.graph.output[0].name
    found = [execute_onnx(model, {source: image[None].astype(np.float32)})[target] for image in images]
    return np.array([int(label.item()) for label in found])


def units(job: dict[str, Any]) -> dict[str, Any]:
    """finn-plus' estimate of single units, each given as `op` (specialised) and `attributes`."""
    from onnx import helper
    from qonnx.custom_op.registry import getCustomOp

    rows = []
    for unit in job["units"]:
        domain = f"finn.custom_op.fpgadataflow.{unit['op'].rpartition('_')[2]}"
        inputs, backend = ["x", "y"], "fpgadataflow"
        node = helper.make_node(unit["op"], inputs, ["z"], domain=domain, backend=backend, **unit["attributes"])
        op = getCustomOp(node)
        found = op.node_res_estimation(job["part"])
        counts = [op.get_exp_cycles(), *(found[key] for key in ("LUT", "BRAM_18K", "URAM", "DSP"))]
        rows.append([int(count) for count in counts])
    return {"units": rows}


def types(job: dict[str, Any]) -> dict[str, Any]:
    """Bits and sign of the types that finn-plus' minimization gives single units with constants; [] for refused."""
    from finn.util.exception import FINNInternalError
    from onnx import TensorProto, helper
    from qonnx.core.datatype import DataType
    from qonnx.core.modelwrapper import ModelWrapper
    from qonnx.custom_op.registry import getCustomOp

    rows = []
    for unit in job["units"]:
        domain = f"finn.custom_op.fpgadataflow.{unit['op'].rpartition('_')[2]}"
        backend = "fpgadataflow"
        if "values" not in unit:
            ends = ["x", "v"]
            node = helper.make_node(unit["op"], ends, ["y"], domain=domain, backend=backend, **unit["attributes"])
            kind = _made(getCustomOp(node))
            rows.append([[int(kind.bitwidth()), bool(kind.signed())]])
            continue
        node = helper.make_node(unit["op"], ["x", "v"], ["y"], domain=domain, backend=backend, **unit["attributes"])
        ends = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [1, 1]) for name in "xy"]
        nodes = [node] if unit["last"] else [node, helper.make_node("Relu", ["y"], ["z"])]
        model = ModelWrapper(helper.make_model(helper.make_graph(nodes, "unit", ends[:1], ends[1:])))
        model.set_initializer("v", np.array(unit["values"], np.float32))
        model.set_tensor_datatype("v", DataType["INT32"])
        op = getCustomOp(model.graph.node[0])
        try:
            found = [op.minimize_weight_bit_width(model)]
        except FINNInternalError:
            found = []
        if unit["op"] == "MVAU_hls":
            found.append(op.minimize_accumulator_width(model))
        rows.append([[int(kind.bitwidth()), bool(kind.signed())] for kind in found])
    return {"types": rows}


def _made(op: Any) -> Any:
    """The type that a unit without constants gives its result."""
    if hasattr(op, "_derive_out_dtype"):
        return op._derive_out_dtype(None)
    return op._get_accumulator_datatype() if hasattr(op, "_get_accumulator_datatype") else op.get_output_datatype()


def hdl(job: dict[str, Any], folder: Path) -> dict[str, Any]:
    """The SystemVerilog of single units as finn-plus generates it: top module, files, bits of words as its ports have.

    A unit is given as `name`, `op` (specialised), `attributes`, `part`, and `values` where it has constants.
    """
    from onnx import TensorProto, helper
    from qonnx.core.datatype import DataType
    from qonnx.core.modelwrapper import ModelWrapper
    from qonnx.custom_op.registry import getCustomOp

    rows = []
    for unit in job["units"]:
        known = {"domain": "finn.custom_op.fpgadataflow.rtl", "backend": "fpgadataflow", "name": unit["name"]}
        node = helper.make_node(unit["op"], ["x", "v"], ["y"], **known, **unit["attributes"])
        ends = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [1, 1]) for name in "xvy"]
        model = ModelWrapper(helper.make_model(helper.make_graph([node], "unit", ends[:2], ends[2:])))
        op = getCustomOp(model.graph.node[0])
        if "values" in unit:
            model.set_initializer("v", np.array(unit["values"], np.float32))
            model.set_tensor_datatype("v", DataType[op.get_nodeattr("weightDataType")])
        if unit["op"] == "Thresholding_rtl":
            op.minimize_weight_bit_width(model)
        place = folder / unit["name"]
        place.mkdir()
        op.set_nodeattr("code_gen_dir_ipgen", str(place))
        op.generate_hdl(model, unit["part"], job["clock_ns"])
        ports = op.get_verilog_top_module_intf_names()
        rows.append(
            {
                "top": op.get_nodeattr("gen_top_module"),
                "files": op.get_rtl_file_list(abspath=True),
                "inputs": [int(bits) for _, bits in ports["s_axis"]],
                "output": int(ports["m_axis"][0][1]),
            }
        )
    return {"units": rows}


def main(path: Path) -> None:
    """Do the job in file `path`; the answer goes to `answer.json` in the same folder."""
    folder = path.parent
    stand_ins(folder)
    from finn.util.settings import initialize_dummy_settings

    os.chdir(folder)
    initialize_dummy_settings()
    job = json.loads(path.read_text())
    tasks = {
        "units": units,
        "types": types,
        "build": lambda job: build(job, folder),
        "hdl": lambda job: hdl(job, folder),
    }
    answer = tasks[job["task"]](job)
    (folder / "answer.json").write_text(json.dumps(answer, indent=1, default=str))


if __name__ == "__main__":
    main(Path(sys.argv[1]).resolve())
