// Package endpoint answers requests on NATS.
//
// A verb is one row of a table and one function:
//
//	endpoint.Row{
//		Verb: subjects.Glance, Reach: endpoint.ReachEverywhere,
//		Handle: endpoint.Handle(func(ctx context.Context, r *endpoint.Request, req *pb.GlanceRequest) (*pb.GlanceReply, error) {
//			…
//		}),
//	}
//
// The function gets a request that was decoded and validated and returns a
// reply or an error. Everything around it happens here, once for all verbs:
// each request gets a goroutine, a panic becomes an error, Runner-Where is
// applied, errors become codes and one line of text, replies are encoded,
// compared with the server's payload limit, counted, put in the audit log and
// published.
//
// A Server registers the rows with NATS's micro package, so that the stock
// tools discover and measure them. It replaces micro in two places: it publishes
// replies itself, because micro.Request races with micro's own bookkeeping once
// its handler has returned; and it subscribes itself to the any scopes of a row
// that leaves them while the runner has no free place, because micro can't pause
// an endpoint.
package endpoint
