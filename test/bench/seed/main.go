// Command seed fills a data folder or a PostgreSQL database with tokens, to look at by hand what a large store does:
//
//	go run ./test/bench/seed -data DIR -tokens 1000000 -keep 1000 > values
//	go run ./test/bench/seed -database URL -tokens 10000000 -keep 1000 > values
package main

import (
	"context"
	"flag"
	"fmt"
	"os"

	"carnet/test/bench"
)

func main() {
	var s bench.Seed
	flag.StringVar(&s.Dir, "data", "", "data folder to fill; no server may run on it")
	flag.StringVar(&s.Database, "database", "", "PostgreSQL database to fill in place of a folder; it must hold no token yet, and no server may run on it")
	flag.IntVar(&s.Tokens, "tokens", 1_000_000, "how many tokens")
	flag.IntVar(&s.Heavy, "heavy", 0, "how many of them belong to the first user of the folder")
	flag.IntVar(&s.Keep, "keep", 1000, "how many values to print")
	flag.Parse()
	if (s.Dir == "") == (s.Database == "") {
		flag.Usage()
		os.Exit(2)
	}
	values, err := s.Fill(context.Background())
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	for _, v := range values {
		fmt.Println(v)
	}
}
