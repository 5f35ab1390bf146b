// SPDX-License-Identifier: Apache-2.0

// The etcd that the API server keeps its objects in; older ones from packages make its watches stall.
package main

import (
	"os"

	"go.etcd.io/etcd/server/v3/etcdmain"
)

func main() {
	etcdmain.Main(os.Args)
}
