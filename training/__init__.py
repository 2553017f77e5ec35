"""How a space is made: objectives, pretraining, adaptation."""
