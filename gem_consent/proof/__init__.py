"""The rules of proof: events, their commitments and the tree over them. Pure: bytes in, bytes out."""
