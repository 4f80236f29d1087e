"""A plan or many specs -> MAdds, params, memory, depth: exact, explained, as arrays."""
