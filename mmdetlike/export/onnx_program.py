"""A detector's graph as an ONNX model, in operators that every runtime has."""

import json
import logging
import warnings
from pathlib import Path

import torch
from torch import Tensor
from torch.export import ExportedProgram

from mmdetlike.errors import ConfigError
from mmdetlike.export.program import FACTS, SIZES, Program, Sizes
from mmdetlike.utils.packages import require_packages

OPSET = 20
INPUT = 'image'


def write_onnx(program: ExportedProgram, path: Path, outputs: list[str], sizes: Sizes, facts: dict) -> None:
    """Write a graph of an image as ONNX.

    Args:
        program: Of one input and a dict of outputs.
        path: The file, ``.onnx``.
        outputs: Names of the outputs, in order.
        sizes: Of the images that it takes, for its metadata.
        facts: Entries of its manifest, likewise.

    Raises:
        ConfigError: What writes ONNX isn't installed, or there is no ONNX for what the detector does.
    """
    require_writing()
    from mmdetlike.export.decompositions import decomposed
    from mmdetlike.export.onnx_operators import TRANSLATIONS

    logging.getLogger('torch.onnx').setLevel(logging.ERROR)  # it tells of each operator of torchvision that isn't there
    try:
        with warnings.catch_warnings():
            warnings.simplefilter('ignore')
            program = decomposed(program)
            model = torch.onnx.export(
                program,
                (),
                dynamo=True,
                opset_version=OPSET,
                input_names=[INPUT],
                output_names=outputs,
                custom_translation_table=TRANSLATIONS,
                verbose=False,
            )
        model.model.metadata_props[SIZES] = sizes.to_text()
        model.model.metadata_props[FACTS] = json.dumps(facts)
        model.save(path, external_data=False)
    except torch.onnx.errors.OnnxExporterError as error:
        raise ConfigError(f'this detector has no form in ONNX: {_reason(error)}') from error


def require_writing() -> None:
    """Raise a ConfigError unless what writes ONNX is installed."""
    require_packages('writing ONNX', 'deploy', 'onnx', 'onnxscript')


def _reason(error: BaseException) -> str:
    """What the exporter found first, of a chain of exceptions that say less and less."""
    while error.__cause__ is not None:
        error = error.__cause__
    return str(error).strip().splitlines()[0]


def read_onnx(path: Path) -> Program:
    """An ONNX model, to be called, run by onnxruntime.

    Raises:
        ConfigError: onnxruntime isn't installed.
    """
    require_packages('running an ONNX model', 'deploy', 'onnxruntime')
    import onnxruntime

    session = onnxruntime.InferenceSession(str(path), providers=['CPUExecutionProvider'])
    names = [output.name for output in session.get_outputs()]

    def run(image: Tensor) -> dict[str, Tensor]:
        values = session.run(names, {INPUT: image.numpy()})
        return {name: torch.as_tensor(value) for name, value in zip(names, values)}

    metadata = session.get_modelmeta().custom_metadata_map
    if SIZES not in metadata:  # written by a version of ours that knew only fixed sizes
        return Program(run, Sizes.fixed(*session.get_inputs()[0].shape[-2:]))
    return Program(run, Sizes.from_text(metadata[SIZES]), json.loads(metadata.get(FACTS, '{}')))
