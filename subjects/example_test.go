package subjects_test

import (
	"fmt"

	"github.com/runnel-io/runnel/subjects"
)

// What a client without this library would have to spell by hand.
func ExampleSpace_Request() {
	space, err := subjects.New("acme.east")
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(space.Request(subjects.Task, subjects.PoolAny("web")))
	fmt.Println(space.Request(subjects.Glance, subjects.At("db1")))
	fmt.Println(space.Log("db1", "deploy-42"), space.LogStream())
	// Output:
	// acme.east.task.pool.web.any
	// acme.east.glance.at.db1
	// acme.east.log.db1.deploy-42 ACME_EAST_LOG
}
