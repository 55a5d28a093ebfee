/* Floats to int8: times the inverse of the scale, clamped, rounded to the nearest, ties to even. */
