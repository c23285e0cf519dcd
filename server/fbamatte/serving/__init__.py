"""The persistent server: models stay warm on their devices, frames come in over gRPC, mattes go back."""
