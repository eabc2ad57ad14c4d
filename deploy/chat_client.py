# A chat. The whole conversation is sent each turn; what was sent before comes from the cache.
import sys

import grpc
from reprise.v1 import inference_pb2 as pb, inference_pb2_grpc as rpc

address = sys.argv[1] if len(sys.argv) > 1 else "127.0.0.1:50051"
options = [("grpc.enable_http_proxy", 0), ("grpc.max_receive_message_length", 24 << 20)]
model = rpc.InferenceStub(grpc.insecure_channel(address, options))
messages = [pb.ChatMessage(role="system", content="You are brief.")]
print("> ", end="", flush=True)
for question in sys.stdin:
    messages.append(pb.ChatMessage(role="user", content=question.strip()))
    answer = ""
    request = pb.GenerateRequest(conversation=pb.Conversation(messages=messages))
    for event in model.Generate(request):
        print(event.token.text, end="", flush=True)
        answer += event.token.text
    cached = event.summary.cached_tokens
    print(f"\n[{cached.gpu + cached.ram + cached.disk} of {event.summary.prompt_tokens} tokens were cached]")
    print("> ", end="", flush=True)
    messages.append(pb.ChatMessage(role="assistant", content=answer))
