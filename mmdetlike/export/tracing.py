"""Models as functions from tensors to tensors, for tools that know nothing else, as ``torch.jit.trace``."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from mmengine.structures import BaseDataElement
from torch import Tensor, nn

CONSTANTS = (str, bytes, int, float, bool, type(None))


@dataclass(frozen=True)
class Schema:
    """How a nested value is put together from a flat sequence of tensors; called with that, it returns the value.

    Args:
        kind: The type of the value; ``Tensor`` for one of the tensors.
        keys: Of a dict, or names of the fields of a data element; None for others.
        parts: Schemas of what the value contains.
        constant: A value without tensors, or what a data element knows besides its fields.
    """

    kind: type
    keys: tuple | None = None
    parts: tuple['Schema', ...] = ()
    constant: Any = None

    @property
    def num_tensors(self) -> int:
        """How many tensors the value is made of."""
        return 1 if self.kind is Tensor else sum(part.num_tensors for part in self.parts)

    def __call__(self, tensors: Sequence[Tensor]) -> Any:
        """The value, from its tensors in their order.

        Raises:
            ValueError: There is another number of tensors.
        """
        if len(tensors) != self.num_tensors:
            raise ValueError(f'the value is made of {self.num_tensors} tensors, got {len(tensors)}')
        if self.kind is Tensor:
            return tensors[0]
        values = []
        for part in self.parts:
            values.append(part(tensors[: part.num_tensors]))
            tensors = tensors[part.num_tensors :]
        return self._built(values)

    def _built(self, values: list) -> Any:
        if self.kind is dict:
            return dict(zip(self.keys, values))
        if issubclass(self.kind, BaseDataElement):
            return self.kind(metainfo=self.constant, **dict(zip(self.keys, values)))
        if issubclass(self.kind, tuple) and hasattr(self.kind, '_fields'):
            return self.kind(*values)
        return self.kind(values) if issubclass(self.kind, (list, tuple)) else self.constant


def flatten(value: Any) -> tuple[list[Tensor], Schema]:
    """The tensors of a nested value, in order, and how it is put together from them.

    Args:
        value: Of tensors, dicts, lists, tuples, ``InstanceData``, ``DetDataSample``, texts and numbers.

    Raises:
        TypeError: It contains something else.
    """
    if isinstance(value, Tensor):
        return [value], Schema(Tensor)
    if isinstance(value, CONSTANTS):
        return [], Schema(type(value), constant=value)
    if isinstance(value, dict):
        return _flatten_parts(value.values(), dict, tuple(value))
    if isinstance(value, BaseDataElement):
        fields = dict(value.items())
        return _flatten_parts(fields.values(), type(value), tuple(fields), dict(value.metainfo_items()))
    if isinstance(value, (list, tuple)):
        return _flatten_parts(value, type(value))
    raise TypeError(f'a traced model takes and returns tensors in dicts, lists and data elements, got {type(value)}')


def _flatten_parts(values, kind: type, keys: tuple | None = None, constant=None) -> tuple[list[Tensor], Schema]:
    flat = [flatten(value) for value in values]
    tensors = [tensor for part, _ in flat for tensor in part]
    return tensors, Schema(kind, keys, tuple(schema for _, schema in flat), constant)


class TracingAdapter(nn.Module):
    """A model whose inputs and outputs are flat tuples of tensors, as Detectron2's ``TracingAdapter``.

    Examples:
        >>> adapter = TracingAdapter(nn.ReLU(), torch.tensor([-1.0, 2.0]), lambda model, x: dict(positive=model(x)))
        >>> tensors = adapter(*adapter.flattened_inputs)
        >>> adapter.outputs_schema(tensors)
        {'positive': tensor([0., 2.])}

    TorchScript (``torch.jit``) is deprecated: new programs are better made by ``mmdetlike.export.deploy``.

    Args:
        model: Any module.
        inputs: What it is called with: a tuple of arguments, or the only one. Numbers and texts in it become constants.
        inference_func: Called with the model and the inputs; by default the model's own call.
        allow_non_tensor: Let outputs contain texts and numbers, which stay those of the first call.

    Attributes:
        flattened_inputs: The tensors of ``inputs``.
        inputs_schema: Tensors -> inputs.
        outputs_schema: Tensors -> outputs; None before the first call.

    Raises:
        TypeError: The inputs contain something else than ``flatten`` takes.
    """

    def __init__(
        self,
        model: nn.Module,
        inputs: Any,
        inference_func: Callable | None = None,
        allow_non_tensor: bool = False,
    ) -> None:
        super().__init__()
        self.model = model
        self.inputs = inputs if isinstance(inputs, tuple) else (inputs,)
        self.inference_func = inference_func or call_model
        self.allow_non_tensor = allow_non_tensor
        tensors, self.inputs_schema = flatten(self.inputs)
        self.flattened_inputs = tuple(tensors)
        self.outputs_schema: Schema | None = None

    def forward(self, *tensors: Tensor) -> tuple[Tensor, ...]:
        """The tensors of the outputs, for tensors of inputs.

        Raises:
            ValueError: Their number is wrong, or the outputs are put together otherwise than those of earlier calls.
            TypeError: Outputs contain something else than tensors.
        """
        outputs = self.inference_func(self.model, *self.inputs_schema(tensors))
        flat, schema = flatten(outputs)
        if not self.allow_non_tensor and (found := constants(schema)):
            raise TypeError(
                f'outputs contain {found[0]!r}, which a traced program would always return: '
                'let inference_func return tensors alone, or set allow_non_tensor'
            )
        if self.outputs_schema not in (None, schema):
            raise ValueError(f'outputs are now {schema}, those of an earlier call were {self.outputs_schema}')
        self.outputs_schema = schema
        return tuple(flat)


def call_model(model: nn.Module, *inputs) -> Any:
    """What a model returns in testing."""
    return model(*inputs)


def constants(schema: Schema) -> list:
    """All values of a schema that are no tensors; what data elements know besides their fields doesn't count."""
    if schema.kind is not Tensor and schema.kind in CONSTANTS:
        return [schema.constant]
    return [value for part in schema.parts for value in constants(part)]
