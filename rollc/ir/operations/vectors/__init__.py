"""Operations on vectors and matrices, along their axes."""
