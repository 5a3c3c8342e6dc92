"""What names people or tells of them, readable only with a key that is theirs and kept apart.

`envelope` seals one value under one data key. `wrapping` keeps a data key under the service's master key and,
once more, to a recovery key whose private half no server has. `files` is where wrapped keys lie. `sealing`
puts these together; the rest of the product knows that file, `fields`, `blind` and `signing`.
"""
