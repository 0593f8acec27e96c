//! Neural-collapse measures NC1 to NC4, streaming class scatter and the simplex ETF.
