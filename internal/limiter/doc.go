// Package limiter keeps calls to providers within their rates.
package limiter
