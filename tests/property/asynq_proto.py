"""asynq's messages as google.protobuf knows them: the judge of qd's own codec."""

from __future__ import annotations

from typing import Any

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory, timestamp_pb2

_F = descriptor_pb2.FieldDescriptorProto
_KINDS = {
    "string": _F.TYPE_STRING,
    "bytes": _F.TYPE_BYTES,
    "int32": _F.TYPE_INT32,
    "int64": _F.TYPE_INT64,
    "bool": _F.TYPE_BOOL,
}
_MESSAGES = {
    "TaskMessage": "string type, bytes payload, string id, string queue, int32 retry, int32 retried, "
    "string error_msg, int64 timeout, int64 deadline, string unique_key, int64 last_failed_at, "
    "int64 retention, int64 completed_at, string group_key, map.string headers",
    "ServerInfo": "string host, int32 pid, string server_id, int32 concurrency, map.int32 queues, "
    "bool strict_priority, string status, time start_time, int32 active_worker_count",
    "WorkerInfo": "string host, int32 pid, string server_id, string task_id, string task_type, "
    "bytes task_payload, string queue, time start_time, time deadline",
    "SchedulerEntry": "string id, string spec, string task_type, bytes task_payload, "
    "many.string enqueue_options, time next_enqueue_time, time prev_enqueue_time",
    "SchedulerEnqueueEvent": "string task_id, time enqueue_time",
    # As a later version of asynq might write it.
    "LaterTaskMessage": "string type, bytes payload, string id, string queue",
}


def _describe() -> descriptor_pb2.FileDescriptorProto:
    file = descriptor_pb2.FileDescriptorProto(
        name="asynq.proto",
        package="asynq",
        syntax="proto3",
        dependency=[timestamp_pb2.DESCRIPTOR.name],
    )
    for name, fields in _MESSAGES.items():
        message = file.message_type.add(name=name)
        for number, text in enumerate(fields.split(", "), start=1):
            kind, field = text.split(" ")
            added = message.field.add(name=field, number=number, label=_F.LABEL_OPTIONAL)
            shape, _, inner = kind.partition(".")
            if shape == "time":
                added.type, added.type_name = _F.TYPE_MESSAGE, ".google.protobuf.Timestamp"
            elif shape == "map":
                entry = message.nested_type.add(name=f"{field.title()}Entry")
                entry.options.map_entry = True
                entry.field.add(name="key", number=1, label=_F.LABEL_OPTIONAL, type=_F.TYPE_STRING)
                entry.field.add(name="value", number=2, label=_F.LABEL_OPTIONAL, type=_KINDS[inner])
                added.label, added.type = _F.LABEL_REPEATED, _F.TYPE_MESSAGE
                added.type_name = f".asynq.{name}.{entry.name}"
            elif shape == "many":
                added.label, added.type = _F.LABEL_REPEATED, _KINDS[inner]
            else:
                added.type = _KINDS[kind]
    later = next(one for one in file.message_type if one.name == "LaterTaskMessage")
    for number, kind in ((16, "string"), (100, "int64"), (2000, "bytes")):
        later.field.add(
            name=f"f{number}", number=number, label=_F.LABEL_OPTIONAL, type=_KINDS[kind]
        )
    return file


_POOL = descriptor_pool.DescriptorPool()
_POOL.AddSerializedFile(timestamp_pb2.DESCRIPTOR.serialized_pb)
_POOL.Add(_describe())  # type: ignore[no-untyped-call]


def _class(name: str) -> Any:
    return message_factory.GetMessageClass(_POOL.FindMessageTypeByName(f"asynq.{name}"))


TaskMessage = _class("TaskMessage")
ServerInfo = _class("ServerInfo")
WorkerInfo = _class("WorkerInfo")
SchedulerEntry = _class("SchedulerEntry")
SchedulerEnqueueEvent = _class("SchedulerEnqueueEvent")
LaterTaskMessage = _class("LaterTaskMessage")
