"""Operations on each element: of numbers, conditions and their like."""
