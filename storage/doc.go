// Package storage keeps what the gateway has acknowledged.
package storage
