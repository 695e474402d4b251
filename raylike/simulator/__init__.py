"""The offline network: who is there, what they post, why it is liked, and a server that tells it."""
