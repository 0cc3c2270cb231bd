"""The rules of the domain: pure functions over plain values, and the codes they speak in."""
