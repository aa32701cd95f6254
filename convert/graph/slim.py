"""A graph without what only people read: names of inner tensors, the converter's notes. 4 to 6 KB of a small graph."""

import flatbuffers
import numpy as np
from ai_edge_litert import schema_py_generated as schema

_ALIGNMENT_BYTES = 16  # the schema's force_align of constants, which the generated Python writer does not know


class _AlignedBuffer(schema.BufferT):
    def Pack(self, builder: flatbuffers.Builder) -> int:  # noqa: N802 (the generated code's name)
        data = None
        if self.data is not None and len(self.data):
            content = np.asarray(self.data, np.uint8).tobytes()
            builder.StartVector(1, len(content), _ALIGNMENT_BYTES)
            builder.head -= len(content)
            builder.Bytes[builder.Head() : builder.Head() + len(content)] = content
            data = builder.EndVector()
        schema.BufferStart(builder)
        if data is not None:
            schema.BufferAddData(builder, data)
        return schema.BufferEnd(builder)


def slim(graph: bytes) -> bytes:
    """Return the same graph with nameless tensors; its signature keeps the names of inputs and outputs."""
    model = schema.ModelT.InitFromObj(schema.Model.GetRootAsModel(graph, 0))
    model.description = None
    model.metadata, model.metadataBuffer = None, None
    for subgraph in model.subgraphs:
        subgraph.name = None
        for tensor in subgraph.tensors:
            tensor.name = None
    for index, buffer in enumerate(model.buffers):
        model.buffers[index] = aligned = _AlignedBuffer()
        aligned.data = buffer.data
    builder = flatbuffers.Builder(len(graph))
    builder.Finish(model.Pack(builder), b"TFL3")
    return bytes(builder.Output())
