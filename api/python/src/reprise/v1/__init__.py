"""The messages of the API as protoc generates them: cache_pb2, inference_pb2, admin_pb2."""
