// Package expression compiles and runs the expressions of packs and of
// workflows: expr (github.com/expr-lang/expr), made safe for what strangers
// write.
//
// What holds for every [Language]:
//
//   - The text, its syntax tree and the memory of a run are bounded. There is no
//     range and no variable, no loop in a loop, and no pattern that comes from a
//     value.
//   - Where texts can be made ([Language.Texts]), all those that one run makes
//     have at most [MaxTexts] bytes together.
//   - An expression has no effect and no clock: the same values give the same.
//   - A problem is an [Error] with its line and column, and the name that was
//     most likely meant.
//
// Allowed imports: the standard library, expr, pkg/providers/nearest.
package expression
